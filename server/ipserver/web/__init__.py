"""The web page: shows experiments and studies in a browser, as a client of the API that only reads."""
