"""Recordings to teach with: from the microphone, from files, out of long recordings; and what is amiss with them."""
