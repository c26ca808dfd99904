"""The web page: experiments and studies in a browser. A client of the API that only reads."""
