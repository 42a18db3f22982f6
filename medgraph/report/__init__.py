"""What people look at: one self-contained HTML page a run or study, tables for the terminal and for papers."""
