"""
The pure core: rules without I/O, clock, randomness or asyncio.

Time, ids and random numbers come in as arguments; what should happen comes out as
values. Nothing in here imports anything of ours outside this package.
"""
