"""Where the simulated household spends its money, and how a bank and a person each write it."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Merchant:
    """Amounts in hundredths of the currency; ``bank_text`` is what stands on the statement."""

    name: str
    bank_text: str
    category: str
    primary: str
    """Plaid's personal finance category, without the part that `detailed` adds."""
    detailed: str
    low: int
    high: int
    channel: str = "in store"


MERCHANTS = (
    Merchant("Mercado Central", "MERCADO CENTRAL {n}", "Groceries",
             "FOOD_AND_DRINK", "GROCERIES", 1200, 14500),
    Merchant("Green Valley Co-op", "GREEN VALLEY COOP #{n}", "Groceries",
             "FOOD_AND_DRINK", "GROCERIES", 800, 9800),
    Merchant("Bäckerei Müller", "BAECKEREI MUELLER {n}", "Groceries",
             "FOOD_AND_DRINK", "GROCERIES", 250, 1800),
    Merchant("Café Zoë", "SQ *CAFE ZOE {n}", "Eating Out",
             "FOOD_AND_DRINK", "COFFEE", 280, 1450),
    Merchant("Noodle House 麺屋", "TST* NOODLE HOUSE - {n}", "Eating Out",
             "FOOD_AND_DRINK", "RESTAURANT", 1400, 6200),
    Merchant("Pizzeria da Ugo", "PIZZERIA DA UGO {n}", "Eating Out",
             "FOOD_AND_DRINK", "RESTAURANT", 1800, 7400),
    Merchant("City Transit", "CITY TRANSIT AUTH {n}", "Transport",
             "TRANSPORTATION", "PUBLIC_TRANSIT", 200, 900),
    Merchant("Northside Fuel", "NORTHSIDE FUEL {n}", "Transport",
             "TRANSPORTATION", "GAS", 2400, 8900),
    Merchant("Rolling Bikes", "ROLLING BIKES GMBH {n}", "Transport",
             "TRANSPORTATION", "BIKES_AND_SCOOTERS", 900, 21000),
    Merchant("Bright Power", "BRIGHT POWER DD {n}", "Electricity",
             "RENT_AND_UTILITIES", "GAS_AND_ELECTRICITY", 6100, 15900, "other"),
    Merchant("Blue Water Works", "BLUE WATER WRKS {n}", "Water",
             "RENT_AND_UTILITIES", "WATER", 2800, 5200, "other"),
    Merchant("Fibernet", "FIBERNET *BROADBAND {n}", "Internet",
             "RENT_AND_UTILITIES", "INTERNET_AND_CABLE", 4999, 5999, "online"),
    Merchant("Harbour Mobile", "HARBOUR MOBILE {n}", "Phone",
             "RENT_AND_UTILITIES", "TELEPHONE", 1900, 3400, "online"),
    Merchant("Willow Pharmacy", "WILLOW PHARM {n}", "Medical",
             "MEDICAL", "PHARMACIES_AND_SUPPLEMENTS", 450, 6600),
    Merchant("Dr Adeyemi Dental", "ADEYEMI DENTAL PRAC {n}", "Medical",
             "MEDICAL", "DENTAL_CARE", 6000, 42000),
    Merchant("Paper & Ink Books", "PAPER+INK BOOKS {n}", "Hobbies",
             "GENERAL_MERCHANDISE", "BOOKSTORES_AND_NEWSSTANDS", 700, 5400),
    Merchant("Everything Online", "EVERYTHING.EXAMPLE*{n}", "Household",
             "GENERAL_MERCHANDISE", "ONLINE_MARKETPLACES", 550, 24900, "online"),
    Merchant("Hammer & Nail", "HAMMER AND NAIL #{n}", "Household",
             "HOME_IMPROVEMENT", "HARDWARE", 300, 18900),
    Merchant("Streamline TV", "STREAMLINE TV {n}", "Subscriptions",
             "ENTERTAINMENT", "TV_AND_MOVIES", 1299, 1799, "online"),
    Merchant("Tonbox Music", "TONBOX MUSIC {n}", "Subscriptions",
             "ENTERTAINMENT", "MUSIC_AND_AUDIO", 999, 1099, "online"),
    Merchant("Little Oak School", "LITTLE OAK SCHOOL {n}", "Children",
             "GENERAL_SERVICES", "EDUCATION", 2500, 48000, "other"),
    Merchant("Kids' Corner", "KIDS CORNER {n}", "Children",
             "GENERAL_MERCHANDISE", "CLOTHING_AND_ACCESSORIES", 900, 8900),
    Merchant("Paws Veterinary", "PAWS VET CLINIC {n}", "Pets",
             "MEDICAL", "VETERINARY_SERVICES", 3500, 29000),
    Merchant("Safe Harbor Insurance", "SAFE HARBOR INS {n}", "Insurance",
             "GENERAL_SERVICES", "INSURANCE", 4200, 13900, "other"),
    Merchant("Sunny Trails Travel", "SUNNY TRAILS TRVL {n}", "Holidays",
             "TRAVEL", "OTHER_TRAVEL", 8900, 189000, "online"),
    Merchant("Hotel Méditerranée", "HOTEL MEDITERRANEE {n}", "Holidays",
             "TRAVEL", "LODGING", 7900, 64000),
)  # fmt: skip
EMPLOYER = Merchant("Lighthouse Works", "LIGHTHOUSE WORKS PAYROLL {n}", "Inflow: Ready to Assign",
                    "INCOME", "WAGES", 210000, 390000, "other")  # fmt: skip
_WEIGHTS = [1_000_000 / (each.low + each.high) for each in MERCHANTS]


def pick_merchants(chance: random.Random, count: int) -> list[Merchant]:
    """Where ``count`` purchases happen: small ones more often."""
    return chance.choices(MERCHANTS, _WEIGHTS, k=count)
