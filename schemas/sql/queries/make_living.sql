DROP TABLE IF EXISTS pg_temp.living;
CREATE TEMPORARY TABLE living (
    book text COLLATE "C", source text COLLATE "C", id text COLLATE "C",
    PRIMARY KEY (book, source, id)
)
