"""The page of a study: what stands on it as plain data, its template, and the library that draws it."""
