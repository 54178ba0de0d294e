"""The look of text: normal forms, characters that cannot be seen or are confused, stems."""
