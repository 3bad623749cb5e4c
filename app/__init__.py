"""What starts a worker (`main`), its `settings`, and what knows nothing of metering: `clock`,
`numbers`, `expressions`, `credentials`, `tokens`, `directory`, `errors`, `failpoints`, `uuids`,
`toml`, `log`.

It stands below all packages but `app.bounds` and `app.log`, `settings` above `app.definitions`,
`main` above all.
"""
