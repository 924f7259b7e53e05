"""The Jupyter kernel "Python (snapshot)": its cells run in processes that can be travelled to.

    notebook ══ broker ─── supervisor ─┬── worker         runs the cells
           ZMQ                         ├── state 1, 2, …  frozen copies of it
                                       └── future

The broker speaks Jupyter's protocol and runs no code of the user's. All copies of the worker have
the same end of the wire to it, which the live one alone reads and writes: a request that travels is
answered by the process that goes on.

    __main__     starts the processes, while little is loaded
    wire         what broker and worker say to each other
    broker       between the notebook and the live worker
    worker       runs cells, completes, inspects
    history      what was typed, in IPython's own file
    spec         tells Jupyter that there is this kernel
    extension    makes an ordinary kernel such a broker: %load_ext snapshot
"""
