"""The JSON schema of sections whose fields are described by the docstrings below them."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Iterator

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from stackfile.sections import Section


class Described(GenerateJsonSchema):
    """Reads the sources for descriptions; pydantic's use_attribute_docstrings reads them in every run."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of a section, its fields described."""
        made = super().model_schema(schema)
        for ancestor in reversed(schema["cls"].__mro__):
            if issubclass(ancestor, Section):
                for name, text in _docstrings(ancestor):
                    made["properties"][name]["description"] = text
        return made


def _docstrings(section: type[Section]) -> Iterator[tuple[str, str]]:
    """Yield a section's own fields that have a docstring, with it."""
    (statement,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    if not isinstance(statement, ast.ClassDef):
        raise TypeError(f"{section.__name__} is no class in its source")
    for field, below in itertools.pairwise(statement.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
            case _:
                pass
