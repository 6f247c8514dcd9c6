"""How the table that ships is made: many small networks trained at once, and measured."""
