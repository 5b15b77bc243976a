DELETE FROM pg_temp.living AS l
USING unnest($1::text[], $2::text[], $3::text[]) AS k (book, source, id)
WHERE l.book = k.book AND l.source = k.source AND l.id = k.id
