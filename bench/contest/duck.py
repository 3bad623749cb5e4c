"""DuckDB: the same events as a file, counted and added by GROUP BY. No broker, nothing kept."""

from __future__ import annotations

import duckdb

from bench.contest.task import Watch, told, write_tallies

QUERY = """
SELECT coalesce(external_subscription_id, subject) AS name, coalesce(code, type) AS code,
       count(*) AS events, sum(coalesce(properties, data).gb) AS total
FROM read_json(?, format = 'newline_delimited', columns = {
    external_subscription_id: 'VARCHAR', subject: 'VARCHAR', code: 'VARCHAR', type: 'VARCHAR',
    properties: 'STRUCT(gb DOUBLE)', data: 'STRUCT(gb DOUBLE)'})
GROUP BY ALL
"""


def main() -> None:
    """Recount the file."""
    task, watch = told(), Watch()
    connection = duckdb.connect()
    watch.begin()
    rows = connection.execute(QUERY, [task.file]).fetchall()
    watch.end()
    write_tallies(task, {(name, code): (events, total) for name, code, events, total in rows})
    watch.write(task)


if __name__ == "__main__":
    main()
