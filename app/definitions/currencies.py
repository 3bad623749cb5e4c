"""Currencies that a plan or a customer may have."""

from app.definitions.fields import INVALID, Fields, is_blank

_CODES = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP
    BYN BZD CAD CDF CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP
    GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES
    KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRO MRU
    MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD
    RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STD STN SVC SYP SZL THB TJS TMT TND
    TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VEF VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMK
    ZMW ZWG ZWL
"""

CURRENCIES = frozenset(_CODES.split())
"""ISO 4217, with codes withdrawn lately that older plans still carry."""


def described_currency(fields: Fields, field: str) -> str | None:
    """Return the currency that a field names; None: it is blank, or refused."""
    value = fields.get(field)
    if is_blank(value):
        return None
    if not isinstance(value, str) or value not in CURRENCIES:
        fields.fail(field, INVALID)
        return None
    return value
