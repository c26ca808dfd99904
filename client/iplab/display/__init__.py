"""How answers look: tables, progress, pages, sentences, and the words that people use for fields."""
