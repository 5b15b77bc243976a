"""The mapping language: documents of any shape to rows of our entities, by declaration alone.

    declared ─ checks ─▶ plan (columns, conditions, rows; compiled once)
    changes ─▶ normaliser: find rows ─▶ convert values ─▶ writer ─▶ events, dead letters

``ids`` says how an ``_id`` becomes text. ``builtin`` is the default shape, in the same language.
"""
