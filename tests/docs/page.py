#!/usr/bin/env python3
"""The manual as one page of HTML: Markdown from stdin, as manual.awk makes it, to stdout.

    awk -f tests/docs/manual.awk stomp_ws.h | tests/docs/page.py

Each symbol of the interface can be linked to by its name (#stws_send), and wherever such a name
stands in text it is a link.
"""

import html
import re
import sys

try:
    import markdown
except ModuleNotFoundError:
    sys.exit("docs: Python has no markdown: apt-get install python3-markdown, or pip install "
             "markdown")

STYLE = """
:root { color-scheme: light dark; --line: #8884; --back: #8881; --link: #06c; }
@media (prefers-color-scheme: dark) { :root { --link: #6bf; } }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0; display: flex; }
main { max-width: 60rem; padding: 1rem 2rem 6rem; min-width: 0; }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; flex: 0 0 17rem; padding: 1rem;
      border-right: 1px solid var(--line); font-size: 14px; box-sizing: border-box; }
nav ul { list-style: none; padding-left: .8rem; margin: 0; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
pre { background: var(--back); border: 1px solid var(--line); padding: .7rem 1rem; overflow: auto;
      font-size: 13px; line-height: 1.4; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
h2 { border-bottom: 1px solid var(--line); margin-top: 2.5rem; }
h3 { font-size: 1rem; margin-bottom: 0; }
table { border-collapse: collapse; }
td, th { border: 1px solid var(--line); padding: .25rem .6rem; text-align: left; }
@media (max-width: 60rem) { body { display: block; } nav { position: static; height: auto; } }
"""


def anchors_of_symbols(page):
    """The heading of a symbol has the symbol's name as its id."""
    return re.sub(r'<h3 id="[^"]*">(<code>(\w+))', r'<h3 id="\2">\1', page)


def links_to_symbols(page):
    """A name in text is a link to its heading; in a heading it is not."""
    ids = set(re.findall(r'<h3 id="(\w+)"', page))

    def link(match):
        name = match[1]
        return f'<a href="#{name}">{match[0]}</a>' if name in ids else match[0]
    return re.sub(r"(?<!\">)<code>((?:stws|STWS)_\w+)</code>", link, page)


def contents(tokens):
    """The headings of two levels as a list; entries are too many."""
    items = "".join(f'<li><a href="#{token["id"]}">{html.unescape(token["name"])}</a>'
                    f"{contents(token['children']) if token['level'] < 2 else ''}</li>"
                    for token in tokens)
    return f"<ul>{items}</ul>" if items else ""


def main():
    text = sys.stdin.read()
    title = text.partition("\n")[0].lstrip("# ")
    converter = markdown.Markdown(extensions=["tables", "toc", "sane_lists"], output_format="html")
    body = links_to_symbols(anchors_of_symbols(converter.convert(text)))
    print(f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
          '<meta name="viewport" content="width=device-width, initial-scale=1">'
          f"<style>{STYLE}</style></head>\n<body><nav>{contents(converter.toc_tokens)}</nav>\n"
          f"<main>\n{body}\n</main></body></html>")


main()
