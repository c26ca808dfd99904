"""The iplab service: API, store, dispatcher, forwarder."""
