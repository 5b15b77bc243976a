"""Names of people, streets and things, so that the company reads like one."""

FIRST_NAMES = (
    "Amélie Ana Andrea Björn Carmen Chloé Daniel Elena Emma Farid Greta Hugo Ines Ivan Jonas José "
    "Julia Karim Laura Liam Lucía Marta Mateo Mia Nadia Noah Nuria Olga Omar Pablo Petra Rosa Sara "
    "Sofía Tariq Tomás Ursula Vera Yusuf Zoë"
).split()
LAST_NAMES = (
    "Abbott Alvarez Becker Benítez Castro Costa Delgado Dubois Esposito Fischer Fuentes García "
    "Gruber Haddad Hoffmann Ibáñez Jansen Jiménez Kaya Klein Larsen León Marchetti Molina Moreau "
    "Navarro Nguyen Novak Okafor Olsen O'Brien Pérez Quinn Ramírez Rossi Ruiz Santos Schmidt Silva "
    "Torres Vargas Weber Zamora"
).split()
STREETS = (
    "Acacia Avenue|Beech Lane|Canal Row|Chestnut Street|Elm Street|Harbour Road|Hill Road|"
    "King Street|Lime Grove|Maple Drive|Market Square|Mill Lane|Oak Street|Orchard Way|Park Road|"
    "Poplar Court|Quay Street|Rose Gardens|Station Road|Willow Walk"
).split("|")
CITIES = (
    ("Austin", "TX", "78701"),
    ("Denver", "CO", "80202"),
    ("Miami", "FL", "33101"),
    ("Portland", "OR", "97201"),
    ("Madrid", None, "28013"),
    ("Valencia", None, "46002"),
    ("Lisboa", None, None),
)
KINDS = (
    *["Apartment", "Studio", "Duplex", "Loft", "Maisonette", "House", "Cottage", "Shop"],
    *["Garage", "Office"],
)
REPAIRS = (
    *["boiler serviced", "lock changed", "roof tile replaced", "window reglazed"],
    *["drain cleared", "heating bled", "kitchen tap replaced", "walls repainted"],
)
