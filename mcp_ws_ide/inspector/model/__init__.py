"""What the inspector knows of the traffic: stored, paired, filtered, counted, judged. Free of Textual."""
