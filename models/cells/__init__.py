"""Recurrent cells: each defines one ``step``; ``scan`` runs a sequence of steps."""
