"""What text looks like: normal forms, characters that cannot be seen or are confused, stems."""
