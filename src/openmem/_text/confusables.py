"""Characters that look like one of ASCII. Written by scripts/look_alikes.py; do not edit.

The source is the table of Unicode Technical Standard #39 (confusables.txt), see the terms of use of Unicode.
"""

from __future__ import annotations

from typing import Final

LOOK_ALIKES: Final[dict[str, str]] = {
    '"': ("\u02ba\u05f4\u201c\u201d\u201f\u275d\u275e\u3003\u301d\u301e\uff02"),
    "#": ("\u22d5\u2317\u266f\u29e3\ufe5f\uff03"),
    "'": ("\u02bb\u02bc\u2018\u2019\u201b\u275b\u275c\uff07"),
    "(": ("\u207d\u208d\u2768\u276a\u27ee\u2985\u2e28\ufd3e\ufe35\ufe59\uff08"),
    ")": ("\u207e\u208e\u2769\u276b\u27ef\u2986\u2e29\ufd3f\ufe36\ufe5a\uff09"),
    ",": ("\xb8\u060c\u201a\u3001\ua4f9\ufe10\ufe50\uff0c"),
    "-": ("\u02d7\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\u2796\u2cba\ufe58\ufe63\uff0d"),
    "/": ("\u1735\u2041\u2044\u2215\u2571\u27cb\u29f8\u2afd\u2cc6\u2f03\u3033\u30ce\u31d3\u4e3f\uff0f\U0001d23a"),
    ":": ("\u02d0\u02f8\u0589\u05c3\u0903\u1361\u16ec\u1803\u1809\u205a\u2236\u2982\ua789\ufe13\ufe55\uff1a"),
    "<": (
        "\xab\u02c2\u1438\u16b2\u2039\u226a\u226e\u227a\u22b0\u22b2"
        "\u22d6\u22d8\u25c1\u25c3\u276c\u276e\u2770\u27e8\u27ea\u2989"
        "\u2991\u29fc\u2aa1\u2aaa\u3008\u300a\ufe64\uff1c\U0001d236"
    ),
    ">": (
        "\xbb\u02c3\u1433\u203a\u226b\u226f\u227b\u22b1\u22b3\u22d7"
        "\u22d9\u25b7\u25b9\u276d\u276f\u2771\u27e9\u27eb\u298a\u2992"
        "\u29fd\u2aa2\u2aab\u3009\u300b\ufe65\uff1e\U00016f3f\U0001d237"
    ),
    "[": ("\u2045\u2772\u27e6\u27ec\u298b\u298d\u298f\u2e22\u3010\u3014\u3016\u3018\u301a\ufe47\uff3b"),
    "\\": ("\u2216\u2572\u27cd\u29f5\u29f9\u2f02\u31d4\u4e36\ufe68\uff3c\U0001d20f\U0001d23b"),
    "]": ("\u2046\u2773\u27e7\u27ed\u298c\u298e\u2990\u2e23\u3011\u3015\u3017\u3019\u301b\ufe48\uff3d"),
    "_": ("\u203f\u2054\u2581\ufe33\ufe34\ufe4d\ufe4e\ufe4f\uff3f"),
    "`": ("\u02cb\u02f4\u055d\u1fef\u2035\uff40"),
    "a": (
        "\u023a\u0251\u0391\u03b1\u0410\u0430\u13aa\u15c5\u1d00\u1d8f"
        "\u1e9a\u2376\u237a\u249c\u2c65\ua4ee\U000102a0\U00016f40\U0001ccd6\U0001d6a8"
        "\U0001d6c2\U0001d6e2\U0001d6fc\U0001d71c\U0001d736\U0001d756\U0001d770\U0001d790\U0001d7aa\U0001f110"
        "\U0001f150\U0001f170\U0001f1e6"
    ),
    "b": (
        "\u0180\u0181\u0182\u0183\u0184\u0243\u0253\u0299\u0392\u0411"
        "\u0412\u042c\u0432\u0462\u0463\u048c\u048d\u13cf\u13f4\u1472"
        "\u1473\u15af\u15f7\u1d6c\u1d80\u249d\ua4d0\ua796\ua797\ua7b4"
        "\U00010282\U000102a1\U00010301\U0001ccd7\U0001d6a9\U0001d6e3\U0001d71d\U0001d757\U0001d791\U0001f111"
        "\U0001f151\U0001f171\U0001f1e7"
    ),
    "c": (
        "\xa2\xa9\u0187\u0188\u023b\u023c\u0255\u03f2\u03f9\u0421"
        "\u0441\u04aa\u04ab\u13df\u1d04\u20a1\u249e\u2ca4\u2ca5\ua4da"
        "\ua792\ua793\ua794\ua7c4\uabaf\U000102a2\U00010302\U00010415\U0001043d\U0001051c"
        "\U000118f2\U0001ccd8\U0001df1d\U0001f112\U0001f152\U0001f16e\U0001f172\U0001f1e8\U0001f74c"
    ),
    "d": (
        "\xd0\u0110\u0111\u0189\u018a\u018b\u018c\u01c5\u01f2\u0221"
        "\u0256\u0257\u0501\u13a0\u13e7\u146f\u15de\u15ea\u1d05\u1d6d"
        "\u1d81\u1d91\u20ab\u249f\ua4d2\ua4d3\ua7c7\ua7c8\U0001ccd9\U0001f113"
        "\U0001f153\U0001f173\U0001f1e9"
    ),
    "e": (
        "\u0246\u0247\u0395\u03b5\u0415\u0435\u0454\u04bd\u04bf\u13ac"
        "\u1d07\u1d92\u212e\u22ff\u24a0\u2c78\u2d39\ua4f0\uab32\uab34"
        "\U00010286\U000118a6\U000118ae\U0001ccda\U0001d6ac\U0001d6e6\U0001d720\U0001d75a\U0001d794\U0001f114"
        "\U0001f154\U0001f174\U0001f1ea"
    ),
    "f": (
        "\u017f\u0191\u0192\u03dc\u0584\u15b4\u1d6e\u1d82\u1e9d\u24a1"
        "\ua4dd\ua730\ua798\ua799\uab35\U00010287\U000102a5\U00010525\U000118a2\U000118c2"
        "\U0001ccdb\U0001d213\U0001d7ca\U0001f115\U0001f155\U0001f175\U0001f1eb"
    ),
    "g": (
        "\u018d\u0193\u01e4\u01e5\u0260\u0261\u0262\u029b\u050c\u0581"
        "\u13c0\u13f3\u1d83\u1da2\u24a2\ua4d6\ua7a0\ua7a1\U0001ccdc\U0001f116"
        "\U0001f156\U0001f176\U0001f1ec"
    ),
    "h": (
        "\u0126\u0127\u0266\u029c\u0397\u041d\u043d\u045b\u04a2\u04bb"
        "\u04c7\u04c9\u0570\u13bb\u13c2\u13f2\u157c\u1d78\u210f\u24a3"
        "\u2c67\u2c68\u2c8e\ua4e7\ua695\ua795\ua7aa\U000102cf\U0001ccdd\U0001d6ae"
        "\U0001d6e8\U0001d722\U0001d75c\U0001d796\U0001f117\U0001f157\U0001f177\U0001f1ed"
    ),
    "i": (
        "\u0131\u0197\u0268\u0269\u026a\u02db\u037a\u03b9\u0456\u04cf"
        "\u13a5\u1d7b\u1d7c\u1d96\u1fbe\u2373\u2378\u24a4\u24db\ua647"
        "\uab75\U000118c3\U0001ccde\U0001d6a4\U0001d6ca\U0001d704\U0001d73e\U0001d778\U0001d7b2\U0001df1a"
        "\U0001f118\U0001f158\U0001f178\U0001f1ee"
    ),
    "j": (
        "\u0248\u0249\u029d\u037f\u03f3\u0408\u0458\u13ab\u148d\u1d0a"
        "\u24a5\ua4d9\ua7b2\U0001ccdf\U0001f119\U0001f159\U0001f179\U0001f1ef"
    ),
    "k": (
        "\u0198\u0199\u039a\u03ba\u041a\u043a\u049a\u049e\u13e6\u16d5"
        "\u1d0b\u1d84\u20ad\u24a6\u2c69\u2c6a\u2c94\ua4d7\ua740\ua741"
        "\ua742\ua743\ua744\ua745\ua7a2\ua7a3\U00010518\U0001cce0\U0001d6b1\U0001d6eb"
        "\U0001d725\U0001d75f\U0001d799\U0001f11a\U0001f15a\U0001f17a\U0001f1f0"
    ),
    "l": (
        "\u013f\u0140\u0141\u0142\u0196\u019a\u01c8\u0234\u023d\u026b"
        "\u026c\u026d\u029f\u0399\u0406\u04c0\u13de\u14aa\u16c1\u18f3"
        "\u1d0c\u1d85\u2110\u2111\u2160\u23fd\u24a7\u24be\u2c60\u2c61"
        "\u2c62\u2c92\u2cd0\u2d4f\ua4e1\ua4f2\ua748\ua749\ua78e\ua7ad"
        "\uab37\uab38\uab39\uff29\uffe8\U0001028a\U00010309\U00010320\U0001041b\U00010526"
        "\U000118a3\U000118b2\U00016f16\U00016f28\U0001cce1\U0001d22a\U0001d408\U0001d43c\U0001d470\U0001d4d8"
        "\U0001d540\U0001d574\U0001d5a8\U0001d5dc\U0001d610\U0001d644\U0001d678\U0001d6b0\U0001d6ea\U0001d724"
        "\U0001d75e\U0001d798\U0001df04\U0001df11\U0001df13\U0001f11b\U0001f15b\U0001f17b\U0001f1f1"
    ),
    "m": (
        "\u0271\u039c\u03fa\u03fb\u041c\u043c\u04cd\u13b7\u15f0\u16d6"
        "\u1d0d\u1d6f\u1d86\u20a5\u24a8\u2c6e\u2c98\ua4df\uab3a\uab51"
        "\U000102b0\U00010311\U0001cce2\U0001d6b3\U0001d6ed\U0001d727\U0001d761\U0001d79b\U0001f11c\U0001f15c"
        "\U0001f17c\U0001f1f2"
    ),
    "n": (
        "\u019d\u019e\u01cb\u0220\u0235\u0272\u0273\u0274\u039d\u03b7"
        "\u043f\u0578\u057c\u1d70\u1d87\u24a9\u2c9a\ua4e0\ua790\ua791"
        "\ua7a4\ua7a5\uab3b\U0001018e\U00010513\U0001cce3\U0001d6b4\U0001d6c8\U0001d6ee\U0001d702"
        "\U0001d728\U0001d73c\U0001d762\U0001d776\U0001d79c\U0001d7b0\U0001f11d\U0001f15d\U0001f17d\U0001f1f3"
    ),
    "o": (
        "\xd8\xf8\u019f\u01fe\u01ff\u0275\u0398\u039f\u03b8\u03bf"
        "\u03c3\u03d1\u03f4\u041e\u043e\u0472\u0473\u04e8\u04e9\u0555"
        "\u0585\u0b20\u0c02\u0c82\u0d02\u0d20\u0d82\u1010\u101d\u10ff"
        "\u12d0\u13be\u13eb\u1d0f\u1d11\u2070\u2296\u229d\u236c\u24aa"
        "\u2c7a\u2c9e\u2c9f\u2d31\u2d41\u2d54\u3007\ua4f3\ua74a\ua74b"
        "\ua74c\ua74d\uab3d\uab3e\uab74\uab8e\uabbb\U00010292\U000102ab\U00010404"
        "\U0001042c\U000104c2\U000104ea\U00010516\U000118b5\U000118c8\U000118d7\U0001cce4\U0001d21a\U0001d6af"
        "\U0001d6b6\U0001d6b9\U0001d6c9\U0001d6d0\U0001d6d4\U0001d6dd\U0001d6e9\U0001d6f0\U0001d6f3\U0001d703"
        "\U0001d70a\U0001d70e\U0001d717\U0001d723\U0001d72a\U0001d72d\U0001d73d\U0001d744\U0001d748\U0001d751"
        "\U0001d75d\U0001d764\U0001d767\U0001d777\U0001d77e\U0001d782\U0001d78b\U0001d797\U0001d79e\U0001d7a1"
        "\U0001d7b1\U0001d7b8\U0001d7bc\U0001d7c5\U0001df1b\U0001f11e\U0001f15e\U0001f17e\U0001f1f4\U0001f714"
    ),
    "p": (
        "\u01a4\u01a5\u03a1\u03c1\u03f1\u0420\u0440\u13e2\u146d\u18d6"
        "\u1d18\u1d71\u1d7d\u1d88\u2117\u2374\u24ab\u2c63\u2ca2\u2ca3"
        "\ua4d1\ua750\ua751\ua752\ua753\ua754\ua755\U00010295\U0001cce5\U0001d6b8"
        "\U0001d6d2\U0001d6e0\U0001d6f2\U0001d70c\U0001d71a\U0001d72c\U0001d746\U0001d754\U0001d766\U0001d780"
        "\U0001d78e\U0001d7a0\U0001d7ba\U0001d7c8\U0001f11f\U0001f15f\U0001f17f\U0001f1f5"
    ),
    "q": (
        "\u024b\u02a0\u051b\u0563\u0566\u24ac\u2d55\ua756\ua757\ua758"
        "\ua759\ua7af\U0001cce6\U0001f120\U0001f160\U0001f180\U0001f1f6"
    ),
    "r": (
        "\xae\u01a6\u024c\u024d\u027c\u027d\u027e\u0280\u0433\u0493"
        "\u13a1\u13d2\u1587\u18f4\u1d26\u1d72\u1d73\u1d89\u24ad\u2c64"
        "\u2c85\ua4e3\ua7a6\ua7a7\uab46\uab47\uab48\uab49\uab81\U000104b4"
        "\U00016f35\U0001cce7\U0001d216\U0001df16\U0001f121\U0001f161\U0001f181\U0001f1f7"
    ),
    "s": (
        "\u01bd\u023f\u0282\u0405\u0455\u054f\u13d5\u13da\u18f5\u1d74"
        "\u1d8a\u24ae\u2c7e\ua4e2\ua731\ua7a8\ua7a9\ua7c5\ua7c9\ua7ca"
        "\uabaa\U00010296\U00010420\U00010448\U000118c1\U00016f3a\U0001cce8\U0001df1e\U0001f122\U0001f162"
        "\U0001f182\U0001f1f8"
    ),
    "t": (
        "\u0166\u0167\u01ab\u01ac\u01ad\u01ae\u0236\u023e\u0288\u03a4"
        "\u03c4\u0422\u0442\u04ac\u13a2\u1d1b\u1d75\u20ae\u22a4\u2361"
        "\u24af\u27d9\u2c66\u2ca6\ua4d4\U00010297\U000102b1\U00010315\U000118bc\U00016f0a"
        "\U0001cce9\U0001d6bb\U0001d6f5\U0001d72f\U0001d769\U0001d7a3\U0001df09\U0001f123\U0001f163\U0001f183"
        "\U0001f1f9\U0001f768"
    ),
    "u": (
        "\u0244\u03c5\u054d\u057d\u1200\u13cc\u144c\u1d1c\u1d7e\u1d99"
        "\u222a\u22c3\u24b0\ua4f4\ua79f\ua7b8\ua7b9\uab4e\uab52\uab9c"
        "\U000104ce\U000104f6\U000118b8\U000118d8\U00016f42\U0001ccea\U0001d6d6\U0001d710\U0001d74a\U0001d784"
        "\U0001d7be\U0001f124\U0001f164\U0001f184\U0001f1fa"
    ),
    "v": (
        "\u01b2\u028b\u03bd\u0474\u0475\u13d9\u142f\u1d20\u1d8c\u2228"
        "\u22c1\u24b1\u2c71\u2c74\u2d38\ua4e6\ua6df\ua75e\ua75f\uaba9"
        "\U00010197\U0001051d\U00011706\U000118a0\U000118c0\U00016f08\U0001cceb\U0001d20d\U0001d6ce\U0001d708"
        "\U0001d742\U0001d77c\U0001d7b6\U0001f125\U0001f165\U0001f185\U0001f1fb\U0001f708"
    ),
    "w": (
        "\u026f\u03c9\u0448\u0461\u047d\u051c\u051d\u0561\u13b3\u13d4"
        "\u1d21\u20a9\u24b2\u2c72\u2c73\ua4ea\ua761\uab83\U000114c5\U0001170a"
        "\U0001170e\U0001170f\U000118ef\U0001ccec\U0001f126\U0001f166\U0001f186\U0001f1fc"
    ),
    "x": (
        "\xd7\u03a7\u0425\u0445\u04b2\u1541\u157d\u166d\u166e\u16b7"
        "\u1d8d\u24b3\u2573\u292b\u292c\u2a2f\u2a30\u2cac\u2d5d\ua4eb"
        "\ua7b3\uab56\uab57\uab58\uab59\U00010196\U00010290\U000102b4\U00010317\U00010322"
        "\U00010527\U000118ec\U0001cced\U0001d6be\U0001d6f8\U0001d732\U0001d76c\U0001d7a6\U0001f127\U0001f167"
        "\U0001f187\U0001f1fd"
    ),
    "y": (
        "\xa5\u01b3\u01b4\u024e\u024f\u0263\u028f\u03a5\u03b3\u03d2"
        "\u0423\u0443\u04ae\u04af\u04b0\u04b1\u10e7\u13a9\u13bd\u1efe"
        "\u1eff\u213d\u24b4\u2ca8\ua4ec\uab5a\U000102b2\U000118a4\U000118dc\U00016f43"
        "\U0001ccee\U0001d6bc\U0001d6c4\U0001d6f6\U0001d6fe\U0001d730\U0001d738\U0001d76a\U0001d772\U0001d7a4"
        "\U0001d7ac\U0001f128\U0001f168\U0001f188\U0001f1fe"
    ),
    "z": (
        "\u01b5\u01b6\u0224\u0225\u0240\u0290\u0291\u0396\u13c3\u1646"
        "\u1d22\u1d76\u1d8e\u24b5\u2c6b\u2c6c\u2c7f\ua4dc\ua7c6\uab93"
        "\U000102f5\U000118a9\U000118c4\U0001ccef\U0001d6ad\U0001d6e7\U0001d721\U0001d75b\U0001d795\U0001f129"
        "\U0001f169\U0001f189\U0001f1ff"
    ),
    "|": ("\xa6\u01c0\u2016\u2223\u2225\u23b8\u23b9\u23d0\u2502\u2503\u254e\u254f\u2758\u2759\u275a\u2f01\uff5c"),
    "~": ("\u02dc\u1fc0\u2053\u223c\u223e\u223f\u301c\u3030\uff5e"),
}
