"""The OpenAPI description as a page that loads nothing: no script, no other server."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body {font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222}
code, pre {font: 14px/1.4 ui-monospace, monospace; background: #f3f3f3} pre {padding: .6rem; overflow-x: auto}
h2 {margin-top: 2rem; border-bottom: 1px solid #ccc} h3 code {background: none}
td, th {text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0}
.method {display: inline-block; min-width: 4.5rem; font-weight: bold}
</style></head><body>
<h1>{{ title }} {{ version }}</h1>
<p>{{ description }} <a href="openapi.json">openapi.json</a> says the same to programs;
<a href="client.py">client.py</a> is a client in one file.</p>
<pre>curl -H "Authorization: Bearer $TOKEN" {{ here }}/tasks
curl -H "Authorization: Bearer $TOKEN" -T scan.nii.gz -X POST "{{ here }}/uploads?filename=scan.nii.gz"
curl -H "Authorization: Bearer $TOKEN" --json '{"image": "&lt;id&gt;"}' {{ here }}/jobs
curl -H "Authorization: Bearer $TOKEN" "{{ here }}/jobs/&lt;id&gt;?wait=60"
curl -H "Authorization: Bearer $TOKEN" -O "{{ here }}/jobs/&lt;id&gt;/results/&lt;task&gt;"</pre>
{% for tag, operations in groups.items() %}<h2>{{ tag }}</h2>
{% for each in operations %}<h3><code><span class="method">{{ each.method }}</span>{{ each.path }}</code></h3>
<p>{{ each.text }}</p>
<table>{% for part in each.parameters %}<tr><td><code>{{ part.name }}</code></td><td>{{ part.place }}</td>
<td>{{ part.text }}</td></tr>{% endfor %}
{% for status, text in each.answers.items() %}<tr><td>{{ status }}</td><td>answer</td><td>{{ text }}</td></tr>
{% endfor %}
</table>{% endfor %}{% endfor %}
<h2>What is sent and answered</h2>
{% for name, schema in schemas.items() %}<h3><code>{{ name }}</code></h3><p>{{ schema.text }}</p>
<table>{% for part in schema.parts %}<tr><td><code>{{ part.name }}</code></td><td>{{ part.kind }}</td>
<td>{{ part.text }}</td></tr>{% endfor %}</table>{% endfor %}
</body></html>"""
METHODS = ("get", "post", "put", "delete")


def as_page(openapi: Mapping[str, Any], here: str = "$SERVER") -> str:
    """HTML of an OpenAPI 3 description."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                groups.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    schemas = {
        name: {
            "text": schema.get("description", ""),
            "parts": [
                {"name": key, "kind": _kind(part), "text": part.get("description", "")}
                for key, part in schema.get("properties", {}).items()
            ],
        }
        for name, schema in openapi["components"]["schemas"].items()
    }
    info = openapi["info"]
    template = Environment(autoescape=True).from_string(PAGE)
    texts = {"title": info["title"], "version": info["version"], "description": info.get("description", "")}
    return template.render(groups=groups, schemas=schemas, here=here, **texts)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    parameters = [
        {"name": each["name"], "place": each["in"], "text": each.get("description", "")}
        for each in operation.get("parameters", [])
    ]
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        parameters.append({"name": _kind(body["schema"]), "place": "body", "text": kind})
    answers: dict[str, list[str]] = {}
    for status, answer in operation["responses"].items():
        kind = ", ".join(_kind(each.get("schema", {})) for each in answer.get("content", {}).values())
        answers.setdefault(kind or answer["description"], []).append(status)
    return {
        "path": path,
        "method": method.upper(),
        "text": operation.get("description", ""),
        "parameters": parameters,
        "answers": {", ".join(statuses): kind for kind, statuses in answers.items()},
    }


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if "items" in schema else "list"
    return str(schema.get("type", schema.get("format", "")))
