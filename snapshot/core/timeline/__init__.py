"""The timeline: every cell can be travelled back to, and futures are branches.

    the shell ── supervisor ─┬── present          the process that runs the cells
                             ├── state 1, 2, …    frozen copies of it, one after each cell
                             ├── visitor          a copy of state 2 that goes on: a branch
                             └── future           a copy that runs in the background

All are children of the supervisor, which runs no code of the user's. Deciding is in `records` and
`thinning`, which know no process.

    records      states and branches: what there is, where one is, what follows from an event
    thinning     which states to give up when there are too many
    drawing      the tree as text
    channel      messages between two processes
    supervisor   the process above all others
    copies       what is put right in a copy, when it freezes and when it wakes
    member       a process of the timeline: freezes, travels, asks
    asking       what a frozen process is asked, answered in a copy of it
    door         the socket for those who look from outside
    telling      what they are told
    past         the past of a program under the debugger, as they see it
"""
