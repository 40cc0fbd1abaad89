"""Who may start now, who waits and who is refused: slots and a queue for each upstream, shedding for the process."""
