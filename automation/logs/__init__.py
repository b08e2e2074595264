"""Our log: one line of JSON for each thing that is said, in every process, on standard output.

    lines       a record as such a line, as text for people, and such a line back as text     pure
    process     what a process says goes out as lines, also what others print and log in it
    prefect     Prefect's command in our form, for its server and its worker

What executions write into their own logs is said by `automation.engine.console`.
docs/logs.md is for those who read them.
"""
