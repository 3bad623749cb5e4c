"""What `meter webhooks` does in a process of its own: from topics to signed requests.

It imports the API's JSON of definitions, how dead letters are read, Kafka's readers and what lies
below. Only the command line and `main`, which shows its public key, import it.
"""
