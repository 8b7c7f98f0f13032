"""The report of readings and labs: one HTML file that needs nothing else, in English and Chinese.

page          the whole page of a reading
lab_page      the whole page of a lab
ladder        one connection as a picture: who sent what, when, and from where on it is encrypted
layers        what lies in what: Ethernet, IP, TCP, TLS, MQTT, with the bytes of this capture
messages      each message explained
certificates  the chain of certificates, with what was checked and how long it is valid
comparison    the handshakes of TLS 1.2 and 1.3 side by side
words         the fixed texts of the page, in both languages
chinese       the explanations of messages, and what was said of the old lab text, in Chinese
style         how it looks
html          text to HTML, escaped
"""
