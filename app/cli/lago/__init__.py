"""Coming from Lago: `meter migrate` copies its definitions, `meter compare` compares its usage."""
