"""Class packs: taught sounds as one zip file that can be handed on."""
