"""Foreign clients against a really started broker.

case                a broker with every policy on, and who may do what
driver              clients of another library in a process of their own, driven by lines of JSON
paho_driver         the process for paho-mqtt
mqttjs_driver.mjs   the process for mqtt.js
scenarios           what paho-mqtt and mqtt.js are both asked to do
mosquitto           the Mosquitto clients as programs
mosquitto_scenarios what they are asked to do
"""
