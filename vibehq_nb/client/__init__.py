"""
The client: sockets that resume, and the notebook facade on top of them.

Everything here runs on one background event loop (``loop``); what a notebook calls is
a thin synchronous face. Nothing of Jupyter and no pandas is imported before use.
"""
