"""The traffic as the inspector understands it: stored, paired, filtered, counted, checked. Free of Textual."""
