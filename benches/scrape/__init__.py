"""Scrapes of many series: what each costs, beside a plain registry of the crate `prometheus`."""
