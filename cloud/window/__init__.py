"""The cashier's window: the person at the desk for bills, bookings and money that goes back."""
