"""Write plugins for tidegate in Python: a class with a role, and one line that exports it.

    from tidegate_plugin import Change, Manifest, Validator, Verdict, accept, as_int, export, reject

    class StockRules(Validator):
        manifest = Manifest(name="stock-rules", version="1.0.0", description="Refuses what is not in stock")

        def validate(self, change: Change) -> Verdict:
            quantity = as_int(change.document.get("quantity"))
            if quantity is None:
                return reject("quantity", "must be a whole number")
            return accept()

    export(StockRules)

What an operator must grant, and `uses` in plugin.yaml names, has modules of its own: `from tidegate_plugin import clock, environment, http,
random`.

Everything a plugin imports it imports at the top of a file: inside the component there are no files to import from. An
exception ends the instance; the host finds the change that raised it and puts that one into the dead letter.
"""

from types import ModuleType as _ModuleType

from . import log, metrics
from .change import Change, Document, Operation
from .component import export
from .extended_json import (
    as_datetime,
    as_decimal,
    as_float,
    as_int,
    as_milliseconds,
    as_object_id,
    bson_date,
    decimal128,
    int64,
    is_date,
    is_decimal,
    is_long,
    is_number,
    is_object_id,
    object_id,
    type_name,
)
from .iso8601 import parse_iso8601
from .results import (
    Destination,
    Failed,
    Migrated,
    Migration,
    Output,
    Routing,
    Transformation,
    Unchanged,
    Verdict,
    Violation,
    accept,
    failed,
    migrated,
    reject,
    unchanged,
)
from .roles import ConfigError, Manifest, Migrator, Plugin, Router, Transformer, Validator
from .rules import (
    ARRAY,
    BOOLEAN,
    DATE,
    DATE_OR_ISO8601,
    DOCUMENT,
    INTEGER,
    ISO8601,
    NUMBER,
    OBJECT_ID,
    STRING,
    Field,
    Rules,
    Type,
    at_path,
    integer_from,
    one_of,
    optional,
    quoted,
    required,
)

# Everything above, but not the modules it comes from.
__all__ = [
    name
    for name, it in list(globals().items())
    if not name.startswith("_") and (name in ("log", "metrics") or not isinstance(it, _ModuleType))
]
