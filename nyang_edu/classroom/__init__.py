"""For teachers: grade a class's submissions, and what is made of the results.

Nothing here is imported by the framework or by a notebook; ``nyang grade`` loads it.
"""
