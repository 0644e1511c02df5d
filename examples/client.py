"""Use a running `wsol demo` from Python: every action of the page, by name.

    wsol demo &
    pip install gradio_client
    python examples/client.py http://127.0.0.1:7860 photo.png [more.png ...]

Behind a password, give `auth=("user", "password")` to `Client`.
"""

from __future__ import annotations

import sys

from gradio_client import Client, handle_file


def main(address: str, *pictures: str) -> None:
    client = Client(address, verbose=False)
    card = client.predict(api_name="/card")
    threshold = card["threshold"]["value"]
    print("model", card["name"], "tells apart", ", ".join(card["classes"]))

    # One picture: the numbers, the overlay, and what to do with it without the model.
    report, overlay = client.predict(handle_file(pictures[0]), threshold, api_name="/look")
    print(report["image"], report["label"], f"{report['foreground_fraction']:.1%} foreground")
    print("look again:", report["review"] or "no need")
    print("overlay", overlay)
    for kind in ("mask", "geojson", "json"):
        print(kind, client.predict(kind, threshold, api_name="/download"))
    print("soft mask", client.predict("Soft mask", threshold, api_name="/view"))

    # Many pictures, or zips of them: everything `wsol predict` would write, in one zip.
    sent = [handle_file(path) for path in pictures]
    report, archive = client.predict(sent, ["mask", "csv"], threshold, api_name="/batch")
    print(report["done"], "of", report["pictures"], "in", archive)
    for failed in report["failed"]:
        print("left out:", failed["reason"])

    # Two methods on one picture.
    first, second = client.predict(api_name="/methods")[:2]
    report, picture = client.predict(handle_file(pictures[0]), first, second, api_name="/compare")
    print(f"{first} and {second} agree on {report['agreement']:.1%} of the pixels:", picture)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
