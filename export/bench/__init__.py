"""What an exported file costs, here and on an emulated Pi."""
