"""Does a started broker keep to the letter of MQTT 5.0, 3.1.1 and 3.1? Each case is named by the statement it tries."""
