"""A parsed report: the standard library's HTML parser, stricter than browsers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
#: SVG elements without a body; the parser reports them through ``handle_startendtag``.
Attributes = dict[str, str | None]


@dataclass
class Element:
    """A start tag, its open ancestors, and the text inside it and its descendants."""

    tag: str
    attributes: Attributes
    parents: tuple[str, ...]
    text: str = ""

    @property
    def classes(self) -> set[str]:
        return set((self.attributes.get("class") or "").split())


@dataclass
class Page(HTMLParser):
    """All elements in document order; raises on tags that do not nest."""

    html: str
    elements: list[Element] = field(default_factory=list)
    stack: list[Element] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self.feed(self.html)
        self.close()
        assert not self.stack, f"never closed: {[one.tag for one in self.stack]}"

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs), tuple(one.tag for one in self.stack))
        self.elements.append(element)
        if tag not in VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs), tuple(one.tag for one in self.stack)))

    def handle_endtag(self, tag):
        assert self.stack, f"</{tag}> closes nothing"
        opened = self.stack.pop()
        assert opened.tag == tag, f"<{opened.tag}> closed by </{tag}> at {self.getpos()}"

    def handle_data(self, data):
        for element in self.stack:
            element.text += data

    def all(self, tag, **wanted):
        """Elements by tag and attribute values (``class_`` matches one class)."""
        found = [one for one in self.elements if one.tag == tag]
        if "class_" in wanted:
            name = wanted.pop("class_")
            found = [one for one in found if name in one.classes]
        return [one for one in found if all(one.attributes.get(key) == value for key, value in wanted.items())]

    def by_id(self, name):
        found = [one for one in self.elements if one.attributes.get("id") == name]
        assert len(found) == 1, f"{len(found)} elements with id {name}"
        return found[0]

    def rows(self, name):
        """The JSON behind a searchable table."""
        return json.loads(self.by_id(name).text, parse_constant=lambda constant: 1 / 0)
