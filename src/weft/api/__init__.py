"""Resources as values: kinds, schemas, defaults, validation, patches, selectors, tables. Pure: no input, no output."""
