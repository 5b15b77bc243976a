SELECT entity, count(*) AS count FROM sync.open_dead_letters GROUP BY entity
