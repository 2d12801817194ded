"""What people see of a film's results: tables, pages, pictures."""
