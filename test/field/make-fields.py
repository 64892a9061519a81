#!/usr/bin/env python3
"""The fields that configurations of Llama, Mistral, Qwen2 and Qwen3 have in transformers, read from its sources.

    python make-fields.py TRANSFORMERS_4 TRANSFORMERS_5 > config-fields.json

TRANSFORMERS_4 and _5 are folders of the package transformers, unpacked from wheels of both versions; nothing is
imported.
"""
import ast
import json
import sys
from pathlib import Path

MODELS = ["llama", "mistral", "qwen2", "qwen3"]
PRIVATE = {"self", "kwargs", "sub_configs", "base_config_key", "has_no_defaults_at_init", "attribute_map", "_auto_class"}


def of_class(path, name):
    """The arguments of __init__, or the annotated fields of a dataclass."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ClassDef) or node.name != name:
            continue
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                found += [argument.arg for argument in each.args.args + each.args.kwonlyargs]
            if isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each.annotation):
                found.append(each.target.id)
    assert found, (path, name)
    return found


def of_dictionary(path, function):
    """The keys of the dictionary that a function returns."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            for each in ast.walk(node):
                if isinstance(each, ast.Dict) and len(each.keys) > 5:
                    return [key.value for key in each.keys]
    raise AssertionError((path, function))


def version_of(package):
    for line in (package / "__init__.py").read_text().splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise AssertionError(package)


def main():
    out = {}
    for folder, base, generation, function in [
            (sys.argv[1], "PretrainedConfig", "configuration_utils.py", "_get_global_generation_defaults"),
            (sys.argv[2], "PreTrainedConfig", "generation/configuration_utils.py", "_get_default_generation_params")]:
        package = Path(folder)
        common = of_class(package / "configuration_utils.py", base)
        common += of_dictionary(package / generation, function)
        fields = {"common": common}
        for model in MODELS:
            path = package / "models" / model / f"configuration_{model}.py"
            fields[model] = of_class(path, f"{model.capitalize()}Config")
        out[version_of(package)] = {
            name: sorted({field for field in each if field not in PRIVATE and not field.startswith("base_model_")})
            for name, each in fields.items()}
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
