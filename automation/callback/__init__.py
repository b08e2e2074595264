"""Studio is told: of executions that ended, and of projects whose workflows are ready; another one of alerts.

tell       what is to be told, written in the transaction in which it happens
due        which deliveries are due, and what became of them
body       what is sent
receivers  to whom
loop       sending it, until it is taken or a day is over
"""
