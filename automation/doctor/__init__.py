"""`automation doctor`: is this installation in order, and if not, what is to be done?

    findings    what a check says
    patient     what is looked at, and how its parts are asked
    examine     all checks, side by side, each within its time
    packages …  the checks, one module a family; each is an `async` function that answers with findings

The doctor changes nothing, needs no part of the installation to run, and is never stopped by one that does not.
`packages` and `findings` import nothing that could be broken; docs/doctor.md has a section for each check.
"""
