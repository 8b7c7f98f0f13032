"""The report of readings and labs: one HTML file that needs nothing else, in English and Chinese.

page            the whole page of a reading, and the parts that it shares with a lab's
lab_page        the whole page of a lab
connection      one connection: verdict, pictures, messages, certificates
agreed          what the handshake agreed on, and where the keys come from
ladder          one connection as a picture: who sent what, when, and from where on it is encrypted
layers          what lies in what: frames, TCP, TLS, MQTT, with the bytes of this capture
messages        each message explained
chain           the chain of certificates, with what was checked and how long each is valid
comparison      the handshakes of TLS 1.2 and 1.3 side by side; reference.json has them
words           short fixed texts by stable keys, in both languages
chinese         messages, corrections and old versions in Chinese; chinese_tls has the messages of TLS
chinese_values  lines of values, checks and corrections, in Chinese by their form
style           how it looks
html            text to HTML, escaped
"""
