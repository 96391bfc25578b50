"""Screening for missed reports of notifiable diseases (传染病漏报筛查): positive markers, cases, cards, deadlines."""
