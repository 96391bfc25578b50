"""The payment channels' side of the wire: WeChat Pay (v3 and v2) and Alipay, with signatures of their own making."""
