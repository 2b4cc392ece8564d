"""`ablate schema`: the JSON Schema of a study file, so that editors complete and check it."""

from __future__ import annotations

from ablate.cli.options import PluginFiles


def schema(plugin: PluginFiles = None) -> None:
    """Print the JSON Schema of study files.

    With every installed component, so that an editor completes and checks YAML: ablate schema >
    study.schema.json, and as the first line of a study: # yaml-language-server: $schema=study.schema.json
    """
    from ablate.cli.terminal import emit_json
    from ablate.discovery.catalog import catalog
    from ablate.runtime.stdout import reserve_stdout
    from ablate.study.jsonschema import study_schema

    with reserve_stdout():
        emit_json(study_schema(catalog(tuple(plugin or ()))))
